with neighbours as (
    select
        track_number,
        similar_track_number,
        score,
        shared_baskets,
        row_number() over (partition by track_number order by rank) as rank
    from {{ ref('track_neighbours') }}
    -- BM25 counts a track among its own neighbours, as the package implicit does.
    where track_number <> similar_track_number
)

select
    own.track_id,
    other.track_id as similar_track_id,
    other.track_name as similar_track_name,
    other.artist_name as similar_artist_name,
    neighbours.score,
    neighbours.shared_baskets,
    neighbours.rank
from neighbours
inner join {{ ref('track_catalogue') }} as own on neighbours.track_number = own.track_number
inner join {{ ref('track_catalogue') }} as other on neighbours.similar_track_number = other.track_number
where neighbours.rank <= {{ var('recommendations') }}
