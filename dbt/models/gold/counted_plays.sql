{{ config(materialized='view', contract={'enforced': false}) }}

select {{ silver_event_columns() }}, _build, played_date as date
from {{ ref('silver_plays') }}
where {{ counts_as_play() }}
