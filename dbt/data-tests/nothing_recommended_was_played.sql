-- A recommendation is for something new.
select r.user_id, r.track_id
from {{ ref('user_recommendations') }} as r
inner join {{ ref('first_listens') }} as p on r.user_id = p.user_id and r.track_id = p.track_id
