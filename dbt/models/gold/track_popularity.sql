select
    track_id,
    max(case when _recency = 1 then track_name end) as track_name,
    max(case when _recency = 1 then artist_name end) as artist_name,
    count(*) as play_count,
    count(distinct user_id) as unique_listeners,
    avg(cast(listened_ms as double)) as avg_listen_duration,
    max(played_at) as last_played_at
from (
    -- The last play names the track; of two at the same moment the one with the higher id.
    select *, row_number() over (partition by track_id order by played_at desc, event_id desc) as _recency
    from {{ ref('silver_plays') }}
) as plays
group by track_id
