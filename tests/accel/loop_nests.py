"""The designs as plain loops that count: slow, from the description, not from the formulas."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Count:
    cycles: int = 0
    macs: int = 0
    words: int = 0


def beats(words: int, port_bits: int, word_bits: int = 32) -> int:
    """Count bus beats by filling one after the other."""
    count = room = 0
    for _ in range(words):
        if room < word_bits:
            count, room = count + -(-(word_bits - room) // port_bits), port_bits * (
                -(-(word_bits - room) // port_bits)) + room  # fmt: skip
        room -= word_bits
    return count


def tiled(
    *, batch: int, groups: int, filters: int, channels: int, rows: int, columns: int,
    kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], tm: int, tn: int,
    tr: int, tc: int, port_bits: int, overlap: bool, clip: bool,
) -> Count:  # fmt: skip
    """Walk every tile of every image; double buffers hide all but the slowest stream."""
    count = Count()

    def touched(outputs: int, axis: int) -> int:
        rows_read = {
            o * stride[axis] + k * dilation[axis]
            for o in range(outputs)
            for k in range(kernel[axis])
        }
        return max(rows_read) - min(rows_read) + 1  # a burst reads what lies between, too

    last_step = last_store = 0
    for _ in range(batch * groups):
        for row in range(0, rows, tr):
            for column in range(0, columns, tc):
                height = min(tr, rows - row) if clip else tr
                width = min(tc, columns - column) if clip else tc
                for _filters in range(0, filters, tm):
                    steps = 0
                    for _channels in range(0, channels, tn):
                        compute = 0
                        for _tap in range(kernel[0] * kernel[1]):
                            for _pixel in range(height * width):
                                compute += 1
                                count.macs += tm * tn
                        image = tn * touched(height, 0) * touched(width, 1)
                        weights = tm * tn * kernel[0] * kernel[1]
                        count.words += image + weights
                        if overlap:
                            steps += max(
                                compute, beats(image, port_bits), beats(weights, port_bits)
                            )
                        else:
                            steps += compute + beats(image + weights, port_bits)
                    output = tm * height * width
                    count.words += output
                    store = beats(output, port_bits)
                    count.cycles += max(steps, store) if overlap else steps + store
    if overlap:  # the first load and the last store have nothing to hide behind
        height, width = (min(tr, rows), min(tc, columns)) if clip else (tr, tc)
        image = tn * touched(height, 0) * touched(width, 1)
        weights = tm * tn * kernel[0] * kernel[1]
        last_step = max(kernel[0] * kernel[1] * height * width, beats(image, port_bits),
                        beats(weights, port_bits))  # fmt: skip
        last_store = beats(tm * height * width, port_bits)
    count.cycles += last_step + last_store
    return count


def systolic(
    *, pixels: int, filters: int, groups: int, depth: int, rows: int, cols: int, vector: int
) -> Count:
    """Move skewed operands through the array cycle by cycle until the last element is done."""
    count = Count()
    for _ in range(groups):
        for _block in range(0, filters, cols):
            for _pixels in range(0, pixels, rows):
                done = [[0] * cols for _ in range(rows)]
                cycle = 0
                while min(min(line) for line in done) < depth:
                    for row in range(rows):
                        for col in range(cols):
                            # Operand k reaches element (row, col) in cycle k + row + col.
                            if 0 <= cycle - row - col < depth:
                                done[row][col] += 1
                                count.macs += vector
                    cycle += 1
                count.cycles += cycle
    return count


def winograd(
    *, batch: int, groups: int, filters: int, channels: int, rows: int, columns: int,
    kernel: tuple[int, int], stride: tuple[int, int], tile: int, pm: int, pn: int,
) -> Count:  # fmt: skip
    """Walk blocks, tiles, channels and 3×3 pieces; pieces are found tap by tap."""
    count = Count()
    n = tile + 2

    def axis_pieces(axis: int) -> set[tuple[int, int]]:
        # Taps of one residue modulo the stride are neighbours; three of them make a piece.
        return {(tap % stride[axis], tap // stride[axis] // 3) for tap in range(kernel[axis])}

    for _ in range(groups):
        for _block in range(0, filters, pm):
            count.cycles += 2 * n + 2 * tile
            for _image in range(batch):
                for _row in range(0, rows, tile):
                    for _column in range(0, columns, tile):
                        for _channels in range(0, channels, pn):
                            for _v in axis_pieces(0):
                                for _h in axis_pieces(1):
                                    count.cycles += 1
                                    count.macs += n * n * pm * pn
    return count
