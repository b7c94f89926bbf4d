// Samples of a rectangle.
uniform vec4 box;  // left, top, right, bottom, -1 to 1
uniform float whose;  // see owner.frag; 0 where nobody asks

void main() {
    gl_Position = vec4(mix(box.xy, box.zw, vec2(gl_VertexID & 1, gl_VertexID >> 1)), (whose + 0.5) / 2048.0 - 1.0, 1.0);
}
