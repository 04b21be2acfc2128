{{
    config(
        materialized='incremental',
        incremental_strategy='replace_changed',
        unique_key=['user_id', 'first_played_at'],
        meta={'changed': 'changed_sessions'},
    )
}}

-- depends_on: {{ ref('silver_events') }}
with plays as (
    select plays.*
    from {{ ref('counted_plays') }} as plays
    {% if is_incremental() %}
    where
        {{ on_days_of_spans(this) }}
        and exists (
            select 1
            from {{ changed_spans(this) }} as spans
            where
                plays.user_id = spans.user_id
                and plays.played_at >= spans.first_played_at
                and plays.played_at <= spans.last_played_at
        )
    {% endif %}
),

gaps as (
    select
        *,
        case when {{ silence_ms() }} <= {{ var('session_gap_minutes') }} * 60000 then 0 else 1 end as starts_session
    from plays
),

numbered as (
    select
        *,
        sum(starts_session) over (
            partition by user_id order by played_at, event_id rows between unbounded preceding and current row
        ) as session_number
    from gaps
)

select
    user_id,
    min(coalesce(started_at, {{ dbt.dateadd('millisecond', '-coalesce(listened_ms, 0)', 'played_at') }})) as started_at,
    min(played_at) as first_played_at,
    max(played_at) as last_played_at,
    min(played_date) as date,
    count(*) as total_plays,
    count(distinct case when {{ is_named() }} then track_id end) as unique_tracks,
    count(distinct case when {{ is_artist_named() }} then {{ name_key('artist_name') }} end) as unique_artists,
    coalesce(sum(listened_ms), 0) / cast(60000 as double) as total_minutes_listened,
    count(case when skipped then 1 end) as skips
from numbered
group by user_id, session_number
