// A mesh of the world in the image: OpenCV's camera, row 0 of the target is the image's top.
in vec3 in_position;
in vec3 in_normal;
in vec3 in_place;
in vec4 in_marks;
in float in_code;

uniform mat3 R;
uniform vec3 t;
uniform mat3 K;  // onto samples, not pixels
uniform vec2 samples;
uniform vec2 near_far;
uniform float lens[5];    // k1, k2, p1, p2, k3
uniform float lens_edge;  // radius squared up to which the lens does not fold; 0 without a lens

out vec3 position;  // in the camera's frame, metres
out vec3 normal;
out vec3 place;
out vec4 marks;
flat out float code;

void main() {
    position = R * in_position + t;
    normal = R * in_normal;
    place = in_place;
    marks = in_marks;
    code = in_code;
    float z = position.z;
    vec2 ray = position.xy;  // times the depth, so that nothing is divided where the lens is plain
    gl_ClipDistance[0] = 1.0;
    if (lens_edge > 0.0) {
        vec2 p = position.xy / max(z, 1e-6);
        float r2 = dot(p, p);
        float radial = 1.0 + r2 * (lens[0] + r2 * (lens[1] + r2 * lens[4]));
        vec2 bent = p * radial + vec2(2.0 * lens[2] * p.x * p.y + lens[3] * (r2 + 2.0 * p.x * p.x),
                                      lens[2] * (r2 + 2.0 * p.y * p.y) + 2.0 * lens[3] * p.x * p.y);
        ray = bent * z;
        gl_ClipDistance[0] = z > 1e-6 ? lens_edge - r2 : -1.0;
    }
    vec2 sample_ = (K * vec3(ray, z)).xy;  // times the depth
    float near = near_far.x, far = near_far.y;
    gl_Position = vec4(2.0 * sample_ / samples - z, (z * (far + near) - 2.0 * far * near) / (far - near), z);
}
