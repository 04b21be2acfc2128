{# No value of a row that this build brought stands in another row too. Rows that were there before have been tested by
   the build that brought them; looking through them all again would cost more with every day. In a full build: all. #}
{% test unique_among_changed(model, column_name) %}
    select {{ column_name }}
    from {{ model }}
    where {{ column_name }} in (
        select changed.{{ column_name }} from {{ model }} as changed where changed._build > {{ setting('published_build') }}
    )
    group by {{ column_name }}
    having count(*) > 1
{% endtest %}
