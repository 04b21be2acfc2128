select former_track_id, max(track_id) as track_id
from {{ ref('silver_events') }}
where former_track_id is not null
group by former_track_id
