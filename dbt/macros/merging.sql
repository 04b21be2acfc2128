{# Plays that several sources tell of (an export, the API, a scrobbler): which rows are the same play.

   Two rows can be the same play when listener, artist and title agree, they are of different sources, and their times
   overlap, each widened by its source's precision. Rows that overlap in a chain form an island; in it each source's rows
   are numbered in time order, and those with the same number are one play, as far as they overlap with the most exact
   of them, the master. So two rows of one source never become one, however close they are; what is left over stays a
   play of its own. A row's part in this depends on plays near it only, which is why a build looks at neighbours. #}

{# The name of a track across sources, whose ids differ. #}
{% macro track_key(of='') -%}
    lower(trim({{ of }}artist_name)) || chr(31) || lower(trim({{ of }}track_name))
{%- endmacro %}

{# A play's time, ms since 1970: from its start to its end as far as they are known. #}
{% macro span_start() -%}
    coalesce({{ epoch_ms('started_at') }}, {{ epoch_ms('coalesce(ended_at, played_at)') }} - coalesce(listened_ms, 0))
{%- endmacro %}

{% macro span_end() -%}
    coalesce(
        {{ epoch_ms('ended_at') }},
        {{ epoch_ms('started_at') }} + coalesce(listened_ms, 0),
        {{ epoch_ms('played_at') }}
    ) + {{ precision_ms() }}
{%- endmacro %}

{# How exact a source's times are; a second where it does not say. Times are cut off, so a true time lies after. #}
{% macro precision_ms() -%} cast(coalesce(time_precision_s, 1) * 1000 as bigint) {%- endmacro %}

{# Between rows of the same precision: the sources that tell more first. #}
{% macro source_rank() -%}
    case source
        {%- for source in var('sources') %}
        when '{{ source }}' then {{ loop.index }}
        {%- endfor %}
        else 99
    end
{%- endmacro %}
