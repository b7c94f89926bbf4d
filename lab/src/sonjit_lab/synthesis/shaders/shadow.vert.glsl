// A mesh as the light sees it.
in vec3 in_position;

uniform mat4 light_view;

void main() {
    gl_Position = light_view * vec4(in_position, 1.0);
    gl_Position.z = max(gl_Position.z, -1.0);  // what is between the light and its image plane still casts
}
