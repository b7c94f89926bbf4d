// What is at a sample; its light comes later, once for each sample.
in vec3 position;
in vec3 normal;
in vec3 place;
in vec4 marks;
flat in float code;

layout(location = 0) out vec4 point;  // in the camera's frame, and whose
layout(location = 1) out vec4 facing;  // the normal, and the first number of the place on the body
layout(location = 2) out vec2 more;    // the other two
layout(location = 3) out vec4 kinds;

void main() {
    vec3 n = normalize(normal);
    if (dot(n, position) > 0.0) n = -n;
    point = vec4(position, code);
    facing = vec4(n, place.x);
    more = place.yz;
    kinds = marks;
}
