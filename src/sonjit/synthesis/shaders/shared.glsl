// Light on a surface, linear, and what patterns are made of.
uniform sampler3D patterns;  // two smooth noises, distance to a cell's middle, distance from a cell's border
uniform sampler2DShadow shadow_map;
uniform mat4 light_view;
uniform bool shadows;
uniform int light_count;
uniform vec3 light_directions[4];  // in the camera's frame, towards the light
uniform vec3 light_colours[4];
uniform vec3 ambient;
uniform vec3 up;  // of the world, in the camera's frame
uniform float seed;

vec4 pattern(vec3 place, float scale) { return texture(patterns, place * scale + seed * vec3(0.37, 0.71, 0.13)); }

float lit(vec3 place, vec3 n, float facing) {
    if (!shadows) return 1.0;
    vec3 at = (light_view * vec4(place, 1.0)).xyz * 0.5 + 0.5;
    at.z -= 0.002 + 0.006 * (1.0 - clamp(facing, 0.0, 1.0));
    if (any(lessThan(at, vec3(0.0))) || any(greaterThan(at, vec3(1.0)))) return 1.0;
    const float step = 1.2 / SHADOW_SIZE;
    return 0.25 * (texture(shadow_map, at + vec3(-step, -step, 0.0)) + texture(shadow_map, at + vec3(step, -step, 0.0))
                 + texture(shadow_map, at + vec3(-step, step, 0.0)) + texture(shadow_map, at + vec3(step, step, 0.0)));
}

// `wrap`: how far light creeps around the edge, per colour. `gloss`: strength of the highlight.
vec3 shade(vec3 albedo, vec3 n, vec3 v, vec3 world, vec3 wrap, float roughness, vec3 gloss) {
    float sky = 0.5 + 0.5 * dot(n, up);
    vec3 sum = albedo * ambient * (0.6 + 0.4 * sky);
    float shine = 2.0 / max(roughness * roughness * roughness * roughness, 1e-3);
    float edge = 1.0 - max(dot(n, v), 0.0);
    float fresnel = edge * edge * edge * edge;
    for (int i = 0; i < light_count; ++i) {
        vec3 l = light_directions[i];
        float d = dot(n, l);
        float open = i == 0 ? lit(world, n, d) : 1.0;
        vec3 diffuse = max(vec3(0.0), (vec3(d) + wrap) / (1.0 + wrap));
        float h = max(dot(n, normalize(l + v)), 0.0);
        float highlight = pow(h, shine) * (shine + 2.0) * 0.125 * max(d, 0.0);
        sum += light_colours[i] * open * (albedo * diffuse + highlight * (gloss + (1.0 - gloss) * 0.5 * fresnel));
    }
    return sum + ambient * fresnel * gloss;
}

vec4 encoded(vec3 linear) {
    vec3 c = max(linear, vec3(0.0));
    vec3 soft = 0.8 + 0.2 * (1.0 - exp(-(c - 0.8) / 0.2));  // a shoulder instead of a hard white
    c = mix(c, soft, step(vec3(0.8), c));
    return vec4(mix(c * 12.92, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(vec3(0.0031308), c)), 1.0);
}
