select {{ silver_event_columns() }}, _build
from {{ ref('silver_events') }}
where event_type = 'skip' and is_kept
