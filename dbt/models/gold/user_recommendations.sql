with heard as (
    select user_id, track_id, ln(1 + count(*)) as weight
    from {{ ref('counted_plays') }}
    where {{ is_heard() }}
    group by user_id, track_id
),

-- Whatever was played, heard or skipped, is not new to the listener.
played as (
    select distinct user_id, track_id
    from {{ ref('silver_plays') }}
),

votes as (
    select
        heard.user_id,
        similar_to.similar_track_id as track_id,
        heard.track_id as because_of,
        heard.weight * similar_to.score as vote
    from heard
    inner join {{ ref('track_similarity') }} as similar_to on heard.track_id = similar_to.track_id
    left join played as already
        on heard.user_id = already.user_id and similar_to.similar_track_id = already.track_id
    where already.track_id is null
),

-- The strongest vote is the reason; among equal ones the first by id, so that a build gives the same one again.
ordered as (
    select
        *,
        row_number() over (partition by user_id, track_id order by vote desc, because_of) as strength
    from votes
),

candidates as (
    select
        user_id,
        track_id,
        round(sum(vote), 9) as recommendation_score,
        min(case when strength = 1 then because_of end) as because_of
    from ordered
    group by user_id, track_id
),

ranked as (
    select
        *,
        row_number() over (partition by user_id order by recommendation_score desc, track_id) as rank
    from candidates
)

select
    ranked.user_id,
    ranked.track_id,
    tracks.track_name,
    tracks.artist_name,
    ranked.recommendation_score,
    ranked.rank,
    'because you played ' || reasons.track_name || ' by ' || reasons.artist_name as reason
from ranked
inner join {{ ref('track_popularity') }} as tracks on ranked.track_id = tracks.track_id
inner join {{ ref('track_popularity') }} as reasons on ranked.because_of = reasons.track_id
where ranked.rank <= {{ var('recommendations') }}
