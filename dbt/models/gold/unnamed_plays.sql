select
    user_id,
    cast(sum(play_count) as bigint) as play_count,
    sum(listened_ms) / cast(60000 as double) as total_minutes_listened,
    min(first_played_at) as first_played_at,
    max(last_played_at) as last_played_at
from {{ ref('play_totals') }}
where not {{ is_named() }}
group by user_id
