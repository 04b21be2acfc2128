-- Every distinct event in bronze is in its silver table or in silver_invalid, and in only one of them.
{% for kind in ('play', 'skip', 'like') %}
select
    '{{ kind }}' as event_type,
    bronze.event_id,
    silver.event_id is not null as is_valid,
    invalid.event_id is not null as is_invalid
from (select distinct event_id from {{ source('bronze', kind ~ 's') }}) as bronze
left join {{ ref('silver_' ~ kind ~ 's') }} as silver on bronze.event_id = silver.event_id
left join {{ ref('silver_invalid') }} as invalid
    on bronze.event_id = invalid.event_id and invalid.event_type = '{{ kind }}'
where (silver.event_id is null) = (invalid.event_id is null)
{% if not loop.last %}union all{% endif %}
{% endfor %}
