with
{% if basket_kinds() != ['user'] %}
-- Where each listener's latest sessions begin.
numbered_sessions as (
    select
        user_id,
        first_played_at,
        row_number() over (partition by user_id order by first_played_at desc) as number_back
    from {{ ref('listening_sessions') }}
),

listeners as (
    select sessions.user_id, min(sessions.first_played_at) as since
    from numbered_sessions as sessions
    cross join (select count(distinct user_id) as listeners from numbered_sessions) as counted
    where
        sessions.number_back
        <= greatest(floor({{ var('basket_sessions') }} / counted.listeners), {{ var('basket_sessions_each') }})
    group by sessions.user_id
),

plays as (
    select
        plays.user_id,
        plays.track_id,
        plays.played_at,
        plays.played_date,
        plays.event_id,
        plays.listened_ms,
        plays.skipped,
        {{ is_named('plays.') }} as is_named
    from {{ ref('counted_plays') }} as plays
    inner join listeners on plays.user_id = listeners.user_id and plays.played_at >= listeners.since
    where plays.played_at >= (select min(earliest.since) from listeners as earliest)
),

gaps as (
    select
        user_id,
        track_id,
        played_at,
        played_date,
        event_id,
        is_named,
        case
            when {{ silence_ms() }} > {{ var('session_gap_minutes') }} * 60000 then 1
            else 0
        end as starts_session
    from plays
    where {{ is_heard() }}
),

session_plays as (
    select
        user_id,
        track_id,
        played_at,
        played_date,
        sum(starts_session) over (
            partition by user_id order by played_at, event_id rows between unbounded preceding and current row
        ) as session_number
    from gaps
    -- What has no name is no track, but no silence either.
    qualify is_named
),

{% endif %}
counted as (
    {% for kind in basket_kinds() %}
    {% if kind == 'user' %}
    select '{{ kind }}' as kind, {{ basket_key(kind) }} as basket, track_id, heard_plays as plays, last_played_at
    from {{ ref('listener_tracks') }}
    {% else %}
    select
        '{{ kind }}' as kind,
        {{ basket_key(kind) }} as basket,
        track_id,
        count(*) as plays,
        max(played_at) as last_played_at
    from session_plays
    group by {{ basket_key(kind) }}, track_id
    {% endif %}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
),

capped as (
    select kind, basket, track_id, plays
    from counted
    qualify
        row_number() over (partition by basket order by {{ history_order('plays') }}, track_id)
        <= {{ var('basket_most_tracks') }}
),

sized as (
    select
        capped.kind,
        capped.basket,
        tracks.track_number,
        tracks.artist_name,
        cast(capped.plays as double) as plays,
        cast(count(*) over (partition by capped.basket) as double) as basket_size,
        cast(sum(capped.plays) over (partition by capped.kind, capped.track_id) as double) as track_plays
    from capped
    inner join {{ ref('track_catalogue') }} as tracks on capped.track_id = tracks.track_id
),

kinds as (
    select kind, count(distinct track_number) as tracks, sum(plays) as plays
    from sized
    group by kind
    -- What a single listener has played tells nothing of what goes together: it is all in one basket.
    having count(distinct basket) >= {{ var('basket_fewest') }}
)

select
    sized.kind,
    sized.basket,
    sized.track_number,
    sized.artist_name,
    {{ basket_weight('sized', 'kinds') }} as weight
from sized
inner join kinds on sized.kind = kinds.kind
