"use client";

import { useEffect } from "react";

export default function Page() {
  useEffect(() => void import("../hands"), []);
  return <p>Hands</p>;
}
