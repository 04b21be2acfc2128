with events as (
    {{ first_landed(source('bronze', 'likes')) }}
)

select {{ silver_event_columns() }}
from events
where {{ invalid_reason() }} is null
