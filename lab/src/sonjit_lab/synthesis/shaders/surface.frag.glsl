// Light on what is at a sample.
uniform sampler2D points;
uniform sampler2D facings;
uniform sampler2D mores;
uniform sampler2D kinds;
uniform sampler3D patterns;  // fine noise, soft noise, distance to a cell's middle, distance from a cell's border
uniform sampler2D image;
uniform sampler2D skies;  // how open each pixel is, see openness.frag
uniform sampler2DShadow shadow_map;
uniform mat4 light_view;  // from the camera's frame
uniform bool shadows;
uniform int light_count;
uniform vec3 light_directions[4];  // in the camera's frame, towards the light
uniform vec3 light_colours[4];
uniform vec3 ambient;
uniform vec3 up;
uniform float seed;
uniform vec3 albedo;
uniform float roughness;
uniform int variant;
uniform float pores, creases, nails, veins, freckles, tattoo;


out vec4 colour;

vec4 pattern(vec3 at, float scale) { return texture(patterns, at * scale + seed * vec3(0.37, 0.71, 0.13)); }

// How much of the first light reaches a point.
float lit(vec3 point, float facing) {
    if (!shadows) return 1.0;
    vec3 at = (light_view * vec4(point, 1.0)).xyz * 0.5 + 0.5;
    at.z -= 0.002 + 0.006 * (1.0 - clamp(facing, 0.0, 1.0));
    if (any(lessThan(at, vec3(0.0))) || any(greaterThan(at, vec3(1.0)))) return 1.0;
    const float step = 1.2 / SHADOW_SIZE;
    return 0.25 * (texture(shadow_map, at + vec3(-step, -step, 0.0)) + texture(shadow_map, at + vec3(step, -step, 0.0))
                 + texture(shadow_map, at + vec3(-step, step, 0.0)) + texture(shadow_map, at + vec3(step, step, 0.0)));
}

// sRGB with a shoulder instead of a hard white; roots are cheaper than the power that they stand for, to 0.3 %.
vec4 encoded(vec3 linear) {
    vec3 c = max(linear, vec3(0.0));
    c = mix(c, 1.0 - 0.04 / max(c - 0.6, vec3(0.2)), step(vec3(0.8), c));
    vec3 second = sqrt(c), fourth = sqrt(second), eighth = sqrt(fourth);
    vec3 curve = 0.5851224 * second + 0.7831404 * fourth - 0.3682627 * eighth;
    return vec4(mix(c * 12.92, curve, step(vec3(0.0031308), c)), 1.0);
}

struct Matter {
    vec3 base;
    vec3 wrap;   // how far light creeps around the edge, per colour
    vec3 gloss;  // strength of the highlight
    vec3 bump;
    float rough;
};

#if defined(SKIN)
// Mottle, relief, pores, shine.
const vec4 KINDS[6] = vec4[](vec4(0.5, 0.3, 0.5, 1.0), vec4(1.0, 0.6, 1.0, 1.0), vec4(0.8, 1.3, 0.8, 0.8),
                             vec4(1.8, 0.7, 1.0, 1.1), vec4(1.2, 1.0, 1.6, 0.6), vec4(0.7, 0.5, 1.2, 1.7));

Matter matter(vec3 rest, vec4 marks) {
    vec4 kind = KINDS[min(variant, 5)];
    vec4 broad = pattern(rest, 4.0), middling = pattern(rest, 28.0), fine = pattern(rest, 105.0);
    float palm = marks.z, back = marks.w, line = marks.y * creases;
    float pale = dot(albedo, vec3(0.3, 0.6, 0.1));
    vec3 base = albedo + vec3(0.058, 0.025, 0.012) * (1.0 - smoothstep(0.0, 0.16, pale));  // no skin is black paint
    // the palm has little pigment, whatever the rest has, and more blood
    base = mix(base, vec3(0.50, 0.29, 0.21), palm * 0.30 * (1.0 - smoothstep(0.03, 0.35, pale)));
    // where little pigment hides it, blood shows through
    base *= mix(vec3(1.0), vec3(0.99, 0.80, 0.72), smoothstep(0.15, 0.60, pale) * (0.75 + 0.25 * palm));
    float mottle = (broad.y - 0.5) + 0.6 * (middling.y - 0.5);
    base *= 1.0 + kind.x * mottle * vec3(0.10, 0.16, 0.16);
    float relief = 1.0 - smoothstep(0.0, 0.30, middling.w);  // lines between the cells of the skin's grain
    base *= 1.0 - kind.y * relief * (0.05 + 0.07 * back);
    base *= 1.0 - pores * kind.z * 0.16 * (1.0 - smoothstep(0.0, 0.5, fine.z));
    base *= mix(vec3(1.0), vec3(0.66, 0.50, 0.46), line);
    float vein = 1.0 - smoothstep(0.02, 0.07, abs(broad.y - 0.5));
    base *= mix(vec3(1.0), vec3(0.78, 0.92, 1.02), 0.55 * veins * vein * back);
    float spot = (1.0 - smoothstep(0.12, 0.34, middling.z)) * smoothstep(0.40, 0.60, broad.x);
    base *= mix(vec3(1.0), vec3(0.60, 0.44, 0.36), freckles * spot * (1.0 - palm));
    if (tattoo > 0.0) {
        float wave = sin(dot(rest, vec3(90.0, 260.0, 140.0)) + 7.0 * broad.x) * sin(dot(rest, vec3(210.0, -80.0, 160.0)));
        float ink = smoothstep(0.05, 0.15, wave) * smoothstep(0.42, 0.50, broad.y) * (1.0 - palm);
        base = mix(base, base * 0.25 + vec3(0.004, 0.010, 0.014), tattoo * ink);
    }
    float nail = smoothstep(0.35, 0.65, marks.x) * nails;
    vec3 bed = mix(base * vec3(2.0, 1.7, 1.6) + 0.02, vec3(0.66, 0.42, 0.37), smoothstep(0.02, 0.40, pale));
    base = mix(base, mix(base * vec3(1.08, 0.98, 0.98), bed, 0.45), nail);
    Matter made;
    made.base = base;
    made.wrap = mix(vec3(0.22, 0.16, 0.13), vec3(0.45, 0.24, 0.17), smoothstep(0.05, 0.45, pale));
    made.gloss = vec3(mix(0.035 * kind.w, 0.07, nail));
    made.bump = ((fine.xyz - 0.5) * 0.16 * kind.z + (middling.xyz - 0.5) * 0.14 * kind.y) * (1.0 - 0.9 * nail);
    made.rough = mix(roughness, 0.30, nail);
    return made;
}
#else
Matter matter(vec3 rest, vec4 marks) {
    vec4 broad = pattern(rest, 6.0), fine = pattern(rest, 70.0);
    Matter made = Matter(albedo * (0.94 + 0.12 * broad.y), vec3(0.0), vec3(0.04), (fine.xyz - 0.5) * 0.03, roughness);
#if defined(CLOTH)
    float warp = pattern(rest * vec3(1.0, 9.0, 1.0), 40.0).x, weft = pattern(rest * vec3(9.0, 1.0, 9.0), 40.0).y;
    made.base *= 0.75 + 0.3 * warp + 0.2 * weft;
    float across = sin(rest.y * 420.0), along = sin((rest.x + rest.z) * 420.0);
    if (variant == 1) made.base *= mix(vec3(1.0), vec3(0.45), smoothstep(-0.1, 0.1, across));
    if (variant == 2) made.base *= 1.0 - 0.3 * step(0.0, across) - 0.3 * step(0.0, along);
    if (variant == 3) made.base *= 0.85 + 0.25 * sin(rest.y * 2600.0) * (0.5 + 0.5 * sin((rest.x + rest.z) * 1900.0));
    if (variant == 4) made.base = mix(made.base, vec3(0.75) - 0.7 * made.base, smoothstep(0.62, 0.66, broad.y));
    made.wrap = vec3(0.30);
    made.gloss = vec3(0.012);
    made.bump = vec3(warp - 0.5, weft - 0.5, fine.x - 0.5) * 0.30;
#elif defined(METAL)
    made.gloss = albedo * (0.85 + 0.3 * broad.x);
    made.bump = (pattern(rest * vec3(1.0, 14.0, 1.0), 30.0).xyz - 0.5) * (variant == 1 ? 0.20 : 0.03);
    made.base *= 0.18;
#elif defined(WOOD)
    float far = length(rest.xz + 0.012 * (broad.xy - 0.5)) + 0.002 * pattern(rest * vec3(1.0, 0.1, 1.0), 30.0).x;
    float ring = fract(far * (variant == 1 ? 420.0 : 210.0));
    made.base *= 0.72 + 0.38 * smoothstep(0.0, 0.7, ring) - 0.38 * smoothstep(0.85, 1.0, ring);
    made.base *= 0.85 + 0.3 * pattern(rest * vec3(1.0, 0.06, 1.0), 90.0).x;
#elif defined(RUBBER)
    made.wrap = vec3(0.10);
    made.bump = (fine.xyz - 0.5) * (variant == 1 ? 0.25 : 0.06);
#elif defined(PLASTIC)
    made.base = variant == 1 ? mix(made.base, vec3(0.8), 0.8 * smoothstep(0.58, 0.60, broad.y)) : made.base;
    made.gloss = vec3(0.05);
#endif
    return made;
}
#endif

vec3 shaded(Matter made, vec3 n, vec3 v, vec3 point, float sky) {
    vec3 sum = made.base * ambient * (0.8 + 0.2 * dot(n, up)) * sky;
    float spread = max(made.rough * made.rough, 0.02);
    spread *= spread;
    float rim = 1.0 - max(dot(n, v), 0.0);
    float fresnel = rim * rim * rim * rim;
    vec3 mirror = made.gloss + (1.0 - made.gloss) * 0.35 * fresnel * (1.0 - made.rough);
    for (int i = 0; i < light_count; ++i) {
        vec3 l = light_directions[i];
        float d = dot(n, l);
        float open = (i == 0 ? lit(point, d) : 1.0) * mix(sky, 1.0, 0.6);
        vec3 diffuse = max(vec3(0.0), (vec3(d) + made.wrap) / (1.0 + made.wrap));
        float h = max(dot(n, normalize(l + v)), 0.0);
        float peak = h * h * (spread - 1.0) + 1.0;  // Walter et al. 2007, their distribution of facets
        float highlight = spread / (4.0 * peak * peak) * max(d, 0.0);
        sum += light_colours[i] * open * (made.base * diffuse + min(highlight, 12.0) * mirror);
    }
    // what a surface mirrors of the room: bright above, dim below
    float above = dot(reflect(-v, n), up);
    return sum + ambient * sky * mirror * (0.9 + 1.1 * smoothstep(-0.2, 0.6, above));
}

void main() {
    ivec2 here = ivec2(gl_FragCoord.xy);
    vec4 point = texelFetch(points, here, 0);
    vec4 facing = texelFetch(facings, here, 0);
    vec3 rest = vec3(facing.w, texelFetch(mores, here, 0).xy);
#if defined(IMAGE)
    Matter made = Matter(pow(texture(image, rest.xy, -0.7).rgb, vec3(2.2)), vec3(0.0), vec3(0.02), vec3(0.0), roughness);
#else
    Matter made = matter(rest, texelFetch(kinds, here, 0));
#endif
    vec3 n = normalize(facing.xyz + made.bump);
    colour = encoded(shaded(made, n, normalize(-point.xyz), point.xyz, texture(skies, gl_FragCoord.xy * 0.5 / vec2(textureSize(skies, 0))).r));
}
