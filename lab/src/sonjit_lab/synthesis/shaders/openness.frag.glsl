// How open a pixel's surface is to the sky: less where its neighbours in the image rise above it.
uniform sampler2D points;
uniform sampler2D facings;
uniform float reach;  // REACH metres at depth 1, in samples
uniform ivec4 within;  // first and last samples that were drawn

out float sky;

void main() {
    ivec2 here = 2 * ivec2(gl_FragCoord.xy) + 1;
    vec3 point = texelFetch(points, here, 0).xyz, n = texelFetch(facings, here, 0).xyz;
    float radius = reach / max(point.z, 0.01), hidden = 0.0;
    for (int k = 0; k < 10; ++k) {
        vec2 step = radius * (0.12 + 0.09 * float(k)) * vec2(cos(2.4 * float(k)), sin(2.4 * float(k)));
        vec3 rise = texelFetch(points, clamp(here + ivec2(step), within.xy, within.zw), 0).xyz - point;
        float far = dot(rise, rise);
        float near = max(1.0 - far / (REACH * REACH), 0.0);  // what is much nearer to the camera casts nothing
        hidden += max(dot(n, rise) * inversesqrt(far + 1e-8) - 0.1, 0.0) * near;
    }
    sky = max(1.0 - 0.36 * hidden, 0.15);
}
