{{ config(materialized='view', contract={'enforced': false}) }}

select *, played_date as date
from {{ ref('silver_plays') }}
where {{ counts_as_play() }}
