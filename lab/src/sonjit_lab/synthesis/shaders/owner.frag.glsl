// Whose a sample is, as a depth: then each drawable's light is worked out where that is its own, and nowhere else.
uniform sampler2D points;

out vec4 colour;

void main() {
    vec4 point = texelFetch(points, ivec2(gl_FragCoord.xy), 0);
    gl_FragDepth = point.z > 0.0 ? (floor(point.w / 256.0) + 0.5) / 4096.0 : 1.0;
    colour = vec4(0.0);
}
