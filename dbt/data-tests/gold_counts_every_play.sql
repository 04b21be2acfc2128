-- Each way of counting plays gives the same total.
with totals as (
    {% for model, column in [
        ('user_daily_listening', 'total_plays'),
        ('listening_by_hour', 'total_plays'),
        ('listening_sessions', 'total_plays'),
        ('listening_streaks', 'total_plays'),
        ('play_totals', 'play_count'),
        ('first_listens', 'play_count'),
        ('track_popularity', 'play_count'),
        ('artist_stats', 'play_count'),
        ('device_usage', 'play_count'),
    ] %}
    select '{{ model }}' as model, coalesce(sum({{ column }}), 0) as plays from {{ ref(model) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select * from totals where plays <> (select count(*) from {{ ref('counted_plays') }})
