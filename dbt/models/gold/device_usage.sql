select
    coalesce(device_type, 'not known') as device_type,
    count(*) as play_count,
    count(distinct user_id) as unique_listeners,
    sum(listened_ms) / 60000.0e0 as total_minutes_listened,
    cast(count(*) as double) / sum(count(*)) over () as share_of_plays
from {{ ref('silver_plays') }}
group by coalesce(device_type, 'not known')
