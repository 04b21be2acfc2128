{# Whether pairs are weighed as the package implicit's BM25Recommender does, and not by the cosine. #}
{% macro is_bm25() -%}
    {%- if var('similarity_weight') not in ('cosine', 'bm25') -%}
        {{ exceptions.raise_compiler_error(
            "var similarity_weight must be cosine or bm25, not '" ~ var('similarity_weight') ~ "'"
        ) }}
    {%- endif -%}
    {{ return(var('similarity_weight') == 'bm25') }}
{%- endmacro %}

{#
  SQL of what a track weighs in a basket; two tracks are alike by the sum, over their baskets, of the weights' product.
  cosine: 1/sqrt of (basket's size ** degree_exponent), so that the product of two is 1/size ** degree_exponent.
  bm25: Robertson and Zaragoza 2009, the track as the document and the basket as the term, as `implicit` has it.
#}
{% macro basket_weight(row, totals) -%}
    {%- if is_bm25() -%}
    {{ row }}.plays * ({{ var('bm25_k1') }} + cast(1 as double))
    / (
        {{ var('bm25_k1') }} * (
            cast(1 as double) - {{ var('bm25_b') }}
            + {{ var('bm25_b') }} * {{ row }}.track_plays / (cast({{ totals }}.plays as double) / {{ totals }}.tracks)
        )
        + {{ row }}.plays
    )
    * (ln(cast({{ totals }}.tracks as double)) - ln(cast(1 as double) + {{ row }}.basket_size))
    {%- else -%}
    power({{ row }}.basket_size, -{{ var('degree_exponent') }} / cast(2 as double))
    {%- endif -%}
{%- endmacro %}

{#
  CTEs that end in `neighbours`: for each item of `baskets` (kind, basket, item, weight) the `most` items that are most
  like it. Each pair is counted once, with its kinds side by side, and mirrored when it has its scores both ways.
#}
{% macro neighbours(baskets, bm25, most) -%}
    {%- set kinds = basket_kinds() -%}
    {%- set total = namespace(of=0.0) -%}
    {%- for kind in kinds -%}{%- set total.of = total.of + var('basket_weights')[kind] -%}{%- endfor -%}
norms as (
    select
        item,
        {%- for kind in kinds %}
        sum(case kind when '{{ kind }}' then weight * weight end) as norm_{{ kind }},
        count(case kind when '{{ kind }}' then 1 end) as baskets_{{ kind }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ baskets }}
    group by item
),

pairs as (
    select
        a.item as one_item,
        b.item as other_item,
        {%- for kind in kinds %}
        sum(case a.kind when '{{ kind }}' then a.weight * b.weight end) as together_{{ kind }},
        count(case a.kind when '{{ kind }}' then 1 end) as shared_{{ kind }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ baskets }} as a
    inner join {{ baskets }} as b on a.basket = b.basket and a.item < b.item
    group by a.item, b.item
),

{% if not bm25 -%}
-- What each kind says of a pair: nothing, below the least support.
weighed as (
    select
        one_item,
        other_item,
        {%- for kind in kinds %}
        case
            when shared_{{ kind }} >= {{ var('similarity_min_support') }}
                then
                    {{ var('basket_weights')[kind] / total.of }} * together_{{ kind }}
                    * (shared_{{ kind }} / (shared_{{ kind }} + {{ var('similarity_shrinkage') }} * cast(1 as double)))
        end as together_{{ kind }},
        case
            when shared_{{ kind }} >= {{ var('similarity_min_support') }} then shared_{{ kind }}
            else 0
        end as shared_{{ kind }}{{ ',' if not loop.last }}
        {%- endfor %}
    from pairs
),

-- What the popularity of either item of a pair divides by.
divisors as (
    select
        item,
        {%- for kind in kinds %}
        power(norm_{{ kind }}, {{ var('popularity_damping') }} - cast(1 as double)) as own_{{ kind }},
        power(norm_{{ kind }}, -{{ var('popularity_damping') }} * cast(1 as double)) as other_{{ kind }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from norms
),

both_ways as (
    select
        weighed.one_item,
        weighed.other_item,
        {%- for score, own, other in [('score', 'one', 'two'), ('score_back', 'two', 'one')] %}
        {% for kind in kinds -%}
        coalesce(weighed.together_{{ kind }} * {{ own }}.own_{{ kind }} * {{ other }}.other_{{ kind }}, 0)
        {{- ' + ' if not loop.last }}
        {%- endfor %} as {{ score }},
        {%- endfor %}
        {% for kind in kinds -%} weighed.shared_{{ kind }}{{ ' + ' if not loop.last }} {%- endfor %} as shared_baskets
    from weighed
    inner join divisors as one on weighed.one_item = one.item
    inner join divisors as two on weighed.other_item = two.item
),
{%- else -%}
both_ways as (
    select
        one_item,
        other_item,
        {%- for score in ['score', 'score_back'] %}
        {% for kind in kinds -%}
        coalesce({{ var('basket_weights')[kind] / total.of }} * together_{{ kind }}, 0){{ ' + ' if not loop.last }}
        {%- endfor %} as {{ score }},
        {%- endfor %}
        {% for kind in kinds -%} shared_{{ kind }}{{ ' + ' if not loop.last }} {%- endfor %} as shared_baskets
    from pairs
),
{%- endif %}

-- To nine digits, so that two engines that add in another order still rank alike.
scored as (
    select one_item as item, other_item as similar_item, round(score, 9) as score, shared_baskets
    from both_ways
    where shared_baskets > 0
    union all
    select other_item, one_item, round(score_back, 9), shared_baskets
    from both_ways
    where shared_baskets > 0
    {%- if bm25 %}
    union all
    select
        item,
        item,
        round(
            {% for kind in kinds -%}
            coalesce({{ var('basket_weights')[kind] / total.of }} * norm_{{ kind }}, 0){{ ' + ' if not loop.last }}
            {%- endfor %},
            9
        ),
        {% for kind in kinds -%} baskets_{{ kind }}{{ ' + ' if not loop.last }} {%- endfor %}
    from norms
    {%- endif %}
),

neighbours as (
    select
        item,
        similar_item,
        score,
        cast(shared_baskets as bigint) as shared_baskets,
        row_number() over (partition by item order by score desc, shared_baskets desc, similar_item) as rank
    from scored
    qualify row_number() over (partition by item order by score desc, shared_baskets desc, similar_item) <= {{ most }}
)
{%- endmacro %}

{# SQL of how much a track of the listener's history (`row`, of listener_tracks) counts. #}
{% macro vote_weight(row) -%}
    {%- set vote = 'count' if is_bm25() else var('vote') -%}
    {%- if vote == 'presence' -%} cast(1 as double)
    {%- elif vote == 'log' -%} ln(cast(1 as double) + {{ row }}.heard_plays)
    {%- elif vote == 'count' -%} cast({{ row }}.heard_plays as double)
    {%- else -%}
        {{ exceptions.raise_compiler_error("var vote must be presence, log or count, not '" ~ vote ~ "'") }}
    {%- endif -%}
    {%- if var('recency_half_life_days') > 0 and not is_bm25() %}
        * power(
            cast(2 as double),
            -{{ dbt.datediff(
                row ~ '.last_played_at', 'max(' ~ row ~ '.last_played_at) over (partition by ' ~ row ~ '.user_id)', 'hour'
            ) }} / ({{ var('recency_half_life_days') }} * cast(24 as double))
        )
    {%- endif -%}
{%- endmacro %}

{# How much artists count beside tracks; with BM25 weights they only fill up what tracks leave. #}
{% macro artist_weight() -%}
    {{ 'cast(0 as double)' if is_bm25() else var('artist_weight') }}
{%- endmacro %}

{# What a neighbour's score counts in recommendations, beside the scores of all of the track's neighbours. #}
{% macro voice() -%}
    {%- if is_bm25() -%} score
    {%- else -%}
        case
            when score > 0 then cast(score as double) / power(round(sum(score) over (partition by item), 9), {{ var('voice_exponent') }})
            else cast(0 as double)
        end
    {%- endif -%}
{%- endmacro %}
