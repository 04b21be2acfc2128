-- Each way of counting plays gives the same total; what the source does not name is counted apart.
with totals as (
    {% for model, column, condition in [
        ('user_daily_listening', 'total_plays', 'true'),
        ('listening_by_hour', 'total_plays', 'true'),
        ('listening_sessions', 'total_plays', 'true'),
        ('listening_streaks', 'total_plays', 'true'),
        ('play_totals', 'play_count', 'true'),
        ('first_listens', 'play_count', is_named()),
        ('track_popularity', 'play_count', is_named()),
        ('unnamed_plays', 'play_count', 'not ' ~ is_named()),
        ('artist_stats', 'play_count', is_artist_named()),
        ('device_usage', 'play_count', 'true'),
    ] %}
    select
        '{{ model }}' as model,
        coalesce(sum({{ column }}), 0) as plays,
        (select count(*) from {{ ref('counted_plays') }} where {{ condition }}) as expected
    from {{ ref(model) }}
    {% if not loop.last %}union all{% endif %}
    {% endfor %}
)

select * from totals where plays <> expected
