select
    track_id,
    max(track_name) as track_name,
    max(artist_name) as artist_name,
    cast(sum(plays_with_skip_known) as bigint) as plays_with_skip_known,
    cast(sum(skips) as bigint) as skips,
    cast(sum(skips) as double) / sum(plays_with_skip_known) as skip_rate
from {{ ref('play_totals') }}
where plays_with_skip_known > 0 and {{ is_named() }}
group by track_id
