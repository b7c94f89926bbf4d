/** A picture of icons.svg. */

export const Icon = ({ name }: { name: string }) => (
  <svg aria-hidden="true">
    <use href={`icons.svg#${name}`} />
  </svg>
);
