// One more file for a unity build that would come out even: src/meson.build.
