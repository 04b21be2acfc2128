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
  like it. Each pair is counted once, one way round, and mirrored after: half the rows.
#}
{% macro neighbours(baskets, bm25, most) -%}
    {%- set kinds = basket_kinds() -%}
    {%- set total = namespace(of=0.0) -%}
    {%- for kind in kinds -%}{%- set total.of = total.of + var('basket_weights')[kind] -%}{%- endfor -%}
norms as (
    select kind, item, sum(weight * weight) as norm, count(*) as baskets
    from {{ baskets }}
    group by kind, item
),

pairs as (
    select
        a.kind,
        a.item as one_item,
        b.item as other_item,
        sum(a.weight * b.weight) as together,
        count(*) as shared_baskets
    from {{ baskets }} as a
    inner join {{ baskets }} as b on a.basket = b.basket and a.item < b.item
    group by a.kind, a.item, b.item
    {%- if not bm25 %}
    having count(*) >= {{ var('similarity_min_support') }}
    {%- endif %}
),

mirrored as (
    select kind, one_item as item, other_item as similar_item, together, shared_baskets
    from pairs
    union all
    select kind, other_item, one_item, together, shared_baskets
    from pairs
    {%- if bm25 %}
    union all
    select kind, item, item, norm, baskets
    from norms
    {%- endif %}
),

scored as (
    select
        mirrored.item,
        mirrored.similar_item,
        -- To nine digits, so that two engines that add in another order still rank alike.
        round(
            sum(
                case mirrored.kind
                    {%- for kind in kinds %}
                    when '{{ kind }}' then {{ var('basket_weights')[kind] / total.of }}
                    {%- endfor %}
                end
                * mirrored.together
                {%- if not bm25 %}
                / (
                    power(own.norm, cast(1 as double) - {{ var('popularity_damping') }})
                    * power(other.norm, {{ var('popularity_damping') }})
                )
                * (mirrored.shared_baskets / (mirrored.shared_baskets + {{ var('similarity_shrinkage') }} * cast(1 as double)))
                {%- endif %}
            ),
            9
        ) as score,
        cast(sum(mirrored.shared_baskets) as bigint) as shared_baskets
    from mirrored
    inner join norms as own on mirrored.kind = own.kind and mirrored.item = own.item
    inner join norms as other on mirrored.kind = other.kind and mirrored.similar_item = other.item
    group by mirrored.item, mirrored.similar_item
),

neighbours as (
    select
        item,
        similar_item,
        score,
        shared_baskets,
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
            when score > 0 then cast(score as double) / power(sum(score) over (partition by item), {{ var('voice_exponent') }})
            else cast(0 as double)
        end
    {%- endif -%}
{%- endmacro %}
