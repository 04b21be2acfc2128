with detected as (
    select
        user_id,
        track_id,
        track_name,
        artist,
        started_at,
        detected_at,
        lag(track_id) over (
            partition by user_id order by detected_at, _kafka_topic_id, _kafka_partition, _kafka_offset
        ) as track_before,
        lag(started_at) over (
            partition by user_id order by detected_at, _kafka_topic_id, _kafka_partition, _kafka_offset
        ) as started_before
    from {{ source('bronze', 'currently_playing') }}
)

select user_id, track_id, track_name, artist, started_at, detected_at
from detected
where track_id is distinct from track_before or started_at is distinct from started_before
