// Runs before the first paint, so that a chosen theme does not flash: a separate file, as the policy forbids inline scripts.
try {
  const theme = localStorage.getItem("polyvec-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  // Storage can be forbidden; the system's theme then holds.
}
