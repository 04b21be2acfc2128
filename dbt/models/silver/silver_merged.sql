select
    merged.event_id,
    merged.master_event_id,
    merged.user_id,
    merged.track_id,
    merged.track_name,
    merged.artist_name,
    merged.played_at,
    coalesce(merged.source, 'not said') as source,
    coalesce(master.source, 'not said') as master_source,
    merged.time_precision_s,
    master.time_precision_s as master_time_precision_s,
    master.played_at as master_played_at,
    'the same listener and track at the same time; '
    || coalesce(master.source, 'not said') || ' is more exact or tells more than '
    || coalesce(merged.source, 'not said') as reason,
    merged.ms_played,
    merged.processed_at
from {{ ref('silver_events') }} as merged
inner join {{ ref('silver_events') }} as master on merged.master_event_id = master.event_id
where not merged.is_kept
