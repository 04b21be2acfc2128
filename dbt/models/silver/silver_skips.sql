select {{ silver_event_columns() }}, _build
from {{ ref('silver_events') }}
where event_type = 'skip' and master_event_id = event_id
