// One pixel of its nine samples: the mean of their colours, the middle one's labels.
uniform sampler2D points;
uniform sampler2D facings;
uniform sampler2D lights;
uniform vec2 step;  // from one sample to the next

layout(location = 0) out vec4 colour;
layout(location = 1) out vec4 surface;  // normal, depth
layout(location = 2) out float code;

void main() {
    ivec2 middle = 2 * ivec2(gl_FragCoord.xy) + 1;
    vec4 point = texelFetch(points, middle, 0);
    surface = vec4(texelFetch(facings, middle, 0).xyz, point.z);
    code = point.w;
    vec2 at = (vec2(middle) + 0.5) * step, half_ = 0.5 * step;  // between four samples each
    colour = 0.25 * (texture(lights, at - half_) + texture(lights, at + half_)
                   + texture(lights, at + vec2(half_.x, -half_.y)) + texture(lights, at + vec2(-half_.x, half_.y)));
}
