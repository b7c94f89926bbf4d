/** The list of the tasks in the head of the page. */

import { effect } from "@preact/signals";
import { render } from "preact";

import { text } from "./common.js";
import { go, hashOf, task, TASKS, type Task } from "./places.js";

/** @param offered tasks that this page supports */
export function mountTasks(nav: HTMLElement, offered: readonly Task[] = TASKS) {
  render(<Tasks offered={offered} />, nav);
  effect(() => {
    document.body.dataset["task"] = task.value;
    const current = nav.querySelector(`#task-${task.value}`);
    current?.scrollIntoView({ block: "nearest", inline: "nearest" }); // narrow screens
  });
}

function Tasks({ offered }: { offered: readonly Task[] }) {
  return (
    <ul>
      {offered.map((name) => (
        <li key={name}>
          <a
            id={`task-${name}`}
            href={hashOf({ task: name, result: null, compared: null })}
            aria-current={task.value === name ? "page" : undefined}
            onClick={(event) => {
              event.preventDefault();
              go({ task: name });
            }}
          >
            {text(`task.${name}`)}
          </a>
        </li>
      ))}
    </ul>
  );
}
