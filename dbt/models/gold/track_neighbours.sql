with baskets as (
    select kind, basket, track_number as item, weight
    from {{ ref('track_baskets') }}
),

{{ neighbours('baskets', bm25=is_bm25(), most=var('similarity_neighbours')) }}

select
    item as track_number,
    similar_item as similar_track_number,
    score,
    {{ voice() }} as voice,
    shared_baskets,
    rank
from neighbours
