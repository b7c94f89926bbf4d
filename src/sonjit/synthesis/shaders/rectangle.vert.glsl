// Samples of a rectangle, at the far end.
uniform vec4 box;  // left, top, right, bottom, -1 to 1

void main() {
    gl_Position = vec4(mix(box.xy, box.zw, vec2(gl_VertexID & 1, gl_VertexID >> 1)), 1.0, 1.0);
}
