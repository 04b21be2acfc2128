with gaps as (
    select
        user_id,
        track_id,
        played_at,
        event_id,
        case
            when
                {{ silence_ms() }} > {{ var('session_gap_minutes') }} * 60000
                then 1
            else 0
        end as starts_session
    from {{ ref('counted_plays') }}
    where {{ is_heard() }}
),

sessions as (
    select
        *,
        sum(starts_session) over (
            partition by user_id order by played_at, event_id rows unbounded preceding
        ) as session_number
    from gaps
),

baskets as (
    select {{ basket_key() }} as basket, track_id, count(*) as plays
    from sessions
    group by {{ basket_key() }}, track_id
    qualify
        row_number() over (partition by {{ basket_key() }} order by count(*) desc, track_id)
        <= {{ var('basket_most_tracks') }}
),

sizes as (
    select track_id, count(*) as baskets
    from baskets
    group by track_id
),

pairs as (
    select a.track_id, b.track_id as similar_track_id, count(*) as shared_baskets
    from baskets as a
    inner join baskets as b on a.basket = b.basket and a.track_id <> b.track_id
    group by a.track_id, b.track_id
    having count(*) >= {{ var('similarity_min_support') }}
),

scored as (
    select
        pairs.track_id,
        pairs.similar_track_id,
        pairs.shared_baskets,
        (pairs.shared_baskets / sqrt(cast(own.baskets as double) * other.baskets))
        * (pairs.shared_baskets / (pairs.shared_baskets + cast({{ var('similarity_shrinkage') }} as double))) as score
    from pairs
    inner join sizes as own on pairs.track_id = own.track_id
    inner join sizes as other on pairs.similar_track_id = other.track_id
),

ranked as (
    select
        *,
        row_number() over (
            partition by track_id order by score desc, shared_baskets desc, similar_track_id
        ) as rank
    from scored
)

select
    ranked.track_id,
    ranked.similar_track_id,
    tracks.track_name as similar_track_name,
    tracks.artist_name as similar_artist_name,
    ranked.score,
    ranked.shared_baskets,
    ranked.rank
from ranked
inner join {{ ref('track_popularity') }} as tracks on ranked.similar_track_id = tracks.track_id
where ranked.rank <= {{ var('recommendations') }}
