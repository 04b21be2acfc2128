with artists as (
    select distinct kind, basket, artist_name as item
    from {{ ref('track_baskets') }}
    -- Without a name it is nobody.
    where artist_name <> ''
),

baskets as (
    select
        kind,
        basket,
        item,
        power(count(*) over (partition by basket), -{{ var('degree_exponent') }} / cast(2 as double)) as weight
    from artists
),

{{ neighbours('baskets', bm25=false, most=var('artist_neighbours')) }}

select
    item as artist_name,
    similar_item as similar_artist_name,
    score,
    shared_baskets,
    rank
from neighbours
