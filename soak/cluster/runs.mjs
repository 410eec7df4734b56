/** Numbers that have come, as runs of consecutive ones. */
export class Runs {
  /** First and last number of each run, in the order in which they came. */
  pairs = [];

  /** Takes the next number; says what was wrong with it, if anything. */
  add(number) {
    const last = this.pairs.at(-1);
    if (last === undefined || number > last[1] + 1) {
      this.pairs.push([number, number]);
    } else if (number === last[1] + 1) {
      last[1] = number;
    } else {
      return has(this.pairs, number) ? 'twice' : 'out of order';
    }
    return undefined;
  }
}

/** Whether a number is in one of these runs. */
export function has(pairs, number) {
  let [low, high] = [0, pairs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (pairs[middle][1] < number) low = middle + 1;
    else high = middle;
  }
  return low < pairs.length && pairs[low][0] <= number;
}
