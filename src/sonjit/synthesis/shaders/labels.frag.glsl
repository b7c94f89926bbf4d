// What stands at the pixel's centre.
in vec3 position;
in vec3 normal;
flat in vec2 ids;
layout(location = 0) out vec4 surface;  // normal and depth
layout(location = 1) out vec2 names;

void main() {
    vec3 n = normalize(normal);
    surface = vec4(dot(n, position) > 0.0 ? -n : n, position.z);
    names = ids / 255.0;
}
