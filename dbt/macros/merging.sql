{# Plays that several sources tell of (an export, the API, a scrobbler): which rows are the same play.

   Two rows can be the same play when listener, artist and title agree, they are of different sources, and their times
   overlap, each widened by its source's precision; where both tell when the play ended, the ends must agree too. Source
   after source (the one that tells most first), each row is given to the play that fits it best, if it is also the one
   that fits that play best of its source: so two rows of one source never become one, however close they are, and what
   is left over stays a play of its own. docs/adr/0011 says why this way. #}

{# A play's time, ms since 1970: from its start to its end as far as they are known. #}
{% macro span_start() -%}
    coalesce(
        {{ epoch_ms('started_at') }},
        {{ epoch_ms('coalesce(ended_at, played_at)') }} - coalesce(ms_played, duration_ms, 0)
    )
{%- endmacro %}

{% macro span_end() -%}
    coalesce(
        {{ epoch_ms('ended_at') }},
        {{ epoch_ms('started_at') }} + coalesce(ms_played, duration_ms, 0),
        {{ epoch_ms('played_at') }}
    ) + {{ precision_ms() }}
{%- endmacro %}

{# When it began and ended, as far as the source really says so: a track's length is not how long it was heard. #}
{% macro known_start() -%}
    coalesce({{ epoch_ms('started_at') }}, {{ epoch_ms('coalesce(ended_at, played_at)') }} - ms_played)
{%- endmacro %}

{% macro known_end() -%}
    coalesce(
        {{ epoch_ms('ended_at') }},
        {{ epoch_ms('started_at') }} + ms_played,
        case when started_at is null then {{ epoch_ms('played_at') }} end
    )
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

{# SQL: listeners of whom more than one source tells, in silver or in what has just landed. Others have nothing to merge,
   and their history need not be looked through. #}
{% macro listeners_of_several_sources(silver) -%}
    select user_id
    from (
        select distinct user_id, coalesce(source, 'not said') as source
        from {{ silver }}
        where event_type = 'play' and {{ setting('merge_sources') | lower }}
        union
        select distinct user_id, coalesce(source, 'not said')
        from {{ came('plays') }}
        where {{ newly_landed() }} and {{ setting('merge_sources') | lower }}
    ) as told
    group by user_id
    having count(*) > 1
{%- endmacro %}

{# CTEs that end in `merged` (event_id, master_event_id): the rows of `spans` that tell of a play of which another row
   tells more exactly. #}
{% macro merged_records(spans) -%}
-- Only tracks that a listener has from more than one source can have anything to merge.
contested as (
    select user_id, track_key
    from {{ spans }}
    group by user_id, track_key
    having min(source) <> max(source)
),

sourced as (
    select
        spans.*,
        dense_rank() over (
            partition by spans.user_id, spans.track_key order by spans.source_rank, spans.source
        ) as source_number
    from {{ spans }} as spans
    inner join contested on spans.user_id = contested.user_id and spans.track_key = contested.track_key
),

plays_1 as (
    select event_id as play, user_id, track_key, span_start, span_end, known_start, known_end, length_ms, precision_ms
    from sourced
    where source_number = 1
),
{% for n in range(2, var('merged_sources') + 1) %}
offers_{{ n }} as (
    select
        event_id,
        play,
        -- How far start or end are apart beyond what the precision explains, then by length, then by the clock.
        case when apart > precision_ms then apart - precision_ms else 0 end as beyond,
        length_apart,
        apart
    from (
        select
            records.event_id,
            plays.play,
            greatest(records.precision_ms, plays.precision_ms) as precision_ms,
            abs(records.known_end - plays.known_end) as end_apart,
            coalesce(
                least(abs(records.known_start - plays.known_start), abs(records.known_end - plays.known_end)),
                abs(records.known_start - plays.known_start),
                abs(records.known_end - plays.known_end),
                abs(records.span_start - plays.span_start)
            ) as apart,
            coalesce(abs(records.length_ms - plays.length_ms), 0) as length_apart
        from sourced as records
        inner join plays_{{ n - 1 }} as plays
            on
                records.user_id = plays.user_id
                and records.track_key = plays.track_key
                and records.span_start <= plays.span_end
                and plays.span_start <= records.span_end
        where records.source_number = {{ n }}
    ) as overlapping
    where coalesce(end_apart <= precision_ms + {{ var('merged_ends_ms') }}, true)
),
{% for taken, before in [('firsts', none), ('seconds', 'firsts')] %}
{{ taken }}_{{ n }} as (
    select event_id, play
    from (
        select
            event_id,
            play,
            row_number() over (partition by event_id order by beyond, length_apart, apart, play) as best_play,
            row_number() over (partition by play order by beyond, length_apart, apart, event_id) as best_record
        from offers_{{ n }} as offers
        {%- if before %}
        where
            not exists (select 1 from {{ before }}_{{ n }} as taken where taken.event_id = offers.event_id)
            and not exists (select 1 from {{ before }}_{{ n }} as taken where taken.play = offers.play)
        {%- endif %}
    ) as ranked
    where best_play = 1 and best_record = 1
),
{% endfor %}
taken_{{ n }} as (
    select event_id, play from firsts_{{ n }}
    union all
    select event_id, play from seconds_{{ n }}
),

plays_{{ n }} as (
    select * from plays_{{ n - 1 }}
    union all
    select event_id, user_id, track_key, span_start, span_end, known_start, known_end, length_ms, precision_ms
    from sourced
    where
        source_number = {{ n }}
        and not exists (select 1 from taken_{{ n }} as taken where taken.event_id = sourced.event_id)
),
{% endfor %}
told as (
    select play, play as event_id from plays_{{ var('merged_sources') }}
    {% for n in range(2, var('merged_sources') + 1) %}
    union all
    select play, event_id from taken_{{ n }}
    {% endfor %}
),

masters as (
    select
        told.event_id,
        first_value(told.event_id) over (
            partition by told.play
            order by sourced.precision_ms, sourced.source_rank, told.event_id
            rows between unbounded preceding and unbounded following
        ) as master_event_id
    from told
    inner join sourced on told.event_id = sourced.event_id
),

merged as (
    select event_id, master_event_id from masters where event_id <> master_event_id
)
{%- endmacro %}
