export default { output: "export", typescript: { ignoreBuildErrors: true } }; // the script "webpack" compiles strictly
