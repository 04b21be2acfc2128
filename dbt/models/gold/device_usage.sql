select
    coalesce(device_type, 'not known') as device_type,
    cast(sum(play_count) as bigint) as play_count,
    count(distinct user_id) as unique_listeners,
    sum(listened_ms) / cast(60000 as double) as total_minutes_listened,
    cast(sum(play_count) as double) / sum(sum(play_count)) over () as share_of_plays
from {{ ref('play_totals') }}
group by coalesce(device_type, 'not known')
