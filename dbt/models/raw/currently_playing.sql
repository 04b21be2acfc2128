select user_id, track_id, track_name, artist, started_at, detected_at
from {{ ref('currently_playing_changes') }}
qualify row_number() over (partition by user_id order by detected_at desc, started_at desc, track_id) = 1
