// Light on what stands at a sample.
uniform sampler2D points;
uniform sampler2D facings;
uniform sampler2D mores;
uniform sampler2D kinds;
uniform sampler3D patterns;  // fine noise, soft noise, distance to a cell's middle, distance from a cell's border
uniform sampler2D image;
uniform sampler2DShadow shadow_map;
uniform mat4 light_view;  // from the camera's frame
uniform bool shadows;
uniform int light_count;
uniform vec3 light_directions[4];  // in the camera's frame, towards the light
uniform vec3 light_colours[4];
uniform vec3 ambient;
uniform vec3 up;
uniform float whose;
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

// `wrap`: how far light creeps around the edge, per colour. `gloss`: strength of the highlight.
vec3 shaded(vec3 base, vec3 n, vec3 v, vec3 point, vec3 wrap, float rough, vec3 gloss) {
    vec3 sum = base * ambient * (0.8 + 0.2 * dot(n, up));
    float shine = 2.0 / max(rough * rough * rough * rough, 1e-3);
    float edge = 1.0 - max(dot(n, v), 0.0);
    float fresnel = edge * edge * edge * edge;
    for (int i = 0; i < light_count; ++i) {
        vec3 l = light_directions[i];
        float d = dot(n, l);
        float open = i == 0 ? lit(point, d) : 1.0;
        vec3 diffuse = max(vec3(0.0), (vec3(d) + wrap) / (1.0 + wrap));
        float h = max(dot(n, normalize(l + v)), 0.0);
        float highlight = pow(h, shine) * (shine + 2.0) * 0.125 * max(d, 0.0);
        sum += light_colours[i] * open * (base * diffuse + highlight * (gloss + (1.0 - gloss) * 0.5 * fresnel));
    }
    return sum + ambient * fresnel * gloss;
}

// sRGB with a shoulder instead of a hard white.
vec4 encoded(vec3 linear) {
    vec3 c = max(linear, vec3(0.0));
    c = mix(c, 0.8 + 0.2 * (1.0 - exp(-(c - 0.8) / 0.2)), step(vec3(0.8), c));
    return vec4(mix(c * 12.92, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(vec3(0.0031308), c)), 1.0);
}

void main() {
    ivec2 here = ivec2(gl_FragCoord.xy);
    vec4 point = texelFetch(points, here, 0);
    if (floor(point.w / 256.0) != whose) discard;
    vec4 facing = texelFetch(facings, here, 0);
    vec3 rest = vec3(facing.w, texelFetch(mores, here, 0).xy);
    vec3 n = facing.xyz;
    vec3 v = normalize(-point.xyz);
    vec3 base = albedo;
    vec3 wrap = vec3(0.0);
    vec3 gloss = vec3(0.04);
#if defined(SKIN)
    vec4 marks = texelFetch(kinds, here, 0);
    vec4 fine = pattern(rest, 60.0), coarse = pattern(rest, 10.0);
    base *= 0.9 + 0.2 * fine.x;
    base.r *= 0.95 + 0.1 * coarse.x;
    wrap = vec3(0.45, 0.25, 0.18);
#elif defined(IMAGE)
    base = pow(texture(image, rest.xy).rgb, vec3(2.2));
#endif
    colour = encoded(shaded(base, n, v, point.xyz, wrap, roughness, gloss));
}
