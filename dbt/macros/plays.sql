{# Whether a play counts, after var('counts_as_play'). Applied in gold: silver keeps every play.
   `half` is the rule of scrobblers, half the track or four minutes (https://www.last.fm/api/scrobbling); where the
   track's length is not known, 30 s. `finished` is what the source says (`trackdone`), or else 95 % of the track. #}
{% macro counts_as_play() -%}
    {%- set rule = setting('counts_as_play') -%}
    {%- if rule == 'any' -%}
        true
    {%- elif rule == '30s' -%}
        coalesce(listened_ms >= 30000, false)
    {%- elif rule == 'half' -%}
        coalesce(
            listened_ms >= case
                when duration_ms is null then 30000
                when duration_ms > 480000 then 240000
                else duration_ms / cast(2 as double)
            end,
            false
        )
    {%- elif rule == 'finished' -%}
        coalesce(reason_end = 'trackdone', ms_played >= duration_ms * cast(0.95 as double), false)
    {%- else -%}
        {{ exceptions.raise_compiler_error("var counts_as_play must be any, 30s, half or finished, not '" ~ rule ~ "'") }}
    {%- endif -%}
{%- endmacro %}

{# Milliseconds without music before a play (played_at is its end); null for a listener's first. #}
{% macro silence_ms() -%}
    {{ ms_between('lag(played_at) over (partition by user_id order by played_at, event_id)', 'played_at') }}
    - coalesce(listened_ms, 0)
{%- endmacro %}

{# What play_totals has a row of. #}
{% macro total_keys() -%} user_id, track_id, track_name, artist_name, album_name, device_type {%- endmacro %}

{# What it has of their plays. #}
{% macro sums_of_plays() -%}
    count(*) as play_count,
    count(case when {{ is_heard() }} then 1 end) as heard_plays,
    coalesce(sum(listened_ms), 0) as listened_ms,
    count(listened_ms) as plays_with_length,
    count(skipped) as plays_with_skip_known,
    count(case when skipped then 1 end) as skips,
    min(played_at) as first_played_at,
    max(played_at) as last_played_at
{%- endmacro %}
