select
    event_id,
    event_type,
    invalid_reason as reason,
    user_id,
    track_id,
    track_name,
    artist_name,
    duration_ms,
    ms_played,
    played_at,
    source,
    _kafka_topic,
    _kafka_topic_id,
    _kafka_partition,
    _kafka_offset,
    processed_at
from {{ ref('silver_events') }}
where invalid_reason is not null
