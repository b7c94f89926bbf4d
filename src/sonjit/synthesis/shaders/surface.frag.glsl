in vec3 position;
in vec3 normal;
in vec3 world;
in vec3 rest;
in vec2 uv;
in vec4 marks;  // nail, crease, palm side, back of the hand
uniform vec3 albedo;
uniform float roughness;
uniform int variant;
uniform sampler2D image;
out vec4 colour;

void main() {
    vec3 v = normalize(-position);
    vec3 n = normalize(normal);
    if (dot(n, v) < 0.0) n = -n;
    vec3 base = albedo;
    vec3 wrap = vec3(0.0);
    vec3 gloss = vec3(0.04);
#if defined(SKIN)
    vec4 fine = pattern(rest, 60.0), coarse = pattern(rest, 10.0);
    base *= 0.9 + 0.2 * fine.x;
    base.r *= 0.95 + 0.1 * coarse.x;
    wrap = vec3(0.45, 0.25, 0.18);
#elif defined(IMAGE)
    base = pow(texture(image, uv).rgb, vec3(2.2));
#endif
    colour = encoded(shade(base, n, v, world, wrap, roughness, gloss));
}
