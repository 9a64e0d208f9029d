! Heat in a periodic flow on the unit square: T_t + speed sin(pi y) T_x = diffusivity (T_xx + T_yy), periodic in x,
! insulated at y = 0 and 1; second-order differences, Heun's method. Each rank has a strip of rows. Reads input.nml;
! the first rank writes T(x, y) of 51 times, 0 to 1, as raw doubles.
program heat_flow
  use mpi
  implicit none
  integer, parameter :: n = 64, outputs = 51, dp = kind(1d0)
  real(dp), parameter :: h = 1d0 / n, pi = acos(-1d0)
  real(dp) :: diffusivity = 0, speed = 0, dt, x, y
  real(dp), allocatable :: T(:, :), predicted(:, :), first(:, :), second(:, :), whole(:, :)
  integer :: rank, ranks, rows, below, above, i, j, k, step, steps, unit, error
  namelist /heat/ diffusivity, speed

  call mpi_init(error)
  call mpi_comm_rank(mpi_comm_world, rank, error)
  call mpi_comm_size(mpi_comm_world, ranks, error)
  open (newunit=unit, file='input.nml', status='old', action='read')
  read (unit, nml=heat)
  close (unit)
  if (mod(n, ranks) /= 0) then
    if (rank == 0) write (0, *) 'the number of ranks must divide ', n
    call mpi_abort(mpi_comm_world, 2, error)
  end if
  rows = n / ranks
  below = merge(rank - 1, mpi_proc_null, rank > 0)
  above = merge(rank + 1, mpi_proc_null, rank < ranks - 1)
  allocate (T(0:n + 1, 0:rows + 1), predicted(0:n + 1, 0:rows + 1), first(n, rows), second(n, rows), whole(n, n))

  ! Steps within half of the limits of stability of diffusion and advection.
  steps = ceiling((1d0 / (outputs - 1)) / min(0.125d0 * h**2 / diffusivity, 0.5d0 * h / speed))
  dt = 1d0 / (outputs - 1) / steps
  do j = 1, rows
    y = (rank * rows + j - 0.5d0) * h
    do i = 1, n
      x = (i - 0.5d0) * h
      T(i, j) = exp(-((x - 0.3d0)**2 + (y - 0.5d0)**2) / 0.02d0)
    end do
  end do

  if (rank == 0) open (newunit=unit, file='temperature.bin', access='stream', form='unformatted', status='replace')
  call write_out()
  do k = 2, outputs
    do step = 1, steps
      call rate(T, first)
      predicted(1:n, 1:rows) = T(1:n, 1:rows) + dt * first
      call rate(predicted, second)
      T(1:n, 1:rows) = T(1:n, 1:rows) + 0.5d0 * dt * (first + second)
    end do
    call write_out()
  end do
  if (rank == 0) close (unit)
  call mpi_finalize(error)

contains

  ! The time derivative of u inside the strip, after its margins have been filled.
  subroutine rate(u, change)
    real(dp), intent(inout) :: u(0:, 0:)
    real(dp), intent(out) :: change(:, :)
    real(dp) :: flow
    integer :: i, j
    u(:, 0) = u(:, 1)
    u(:, rows + 1) = u(:, rows)
    call mpi_sendrecv(u(:, rows), n + 2, mpi_double_precision, above, 1, u(:, 0), n + 2, mpi_double_precision, below, 1, &
                      mpi_comm_world, mpi_status_ignore, error)
    call mpi_sendrecv(u(:, 1), n + 2, mpi_double_precision, below, 2, u(:, rows + 1), n + 2, mpi_double_precision, above, 2, &
                      mpi_comm_world, mpi_status_ignore, error)
    u(0, :) = u(n, :)
    u(n + 1, :) = u(1, :)
    do j = 1, rows
      flow = speed * sin(pi * (rank * rows + j - 0.5d0) * h)
      do i = 1, n
        change(i, j) = diffusivity * (u(i + 1, j) + u(i - 1, j) + u(i, j + 1) + u(i, j - 1) - 4 * u(i, j)) / h**2 &
                       - flow * (u(i + 1, j) - u(i - 1, j)) / (2 * h)
      end do
    end do
  end subroutine rate

  subroutine write_out()
    call mpi_gather(T(1:n, 1:rows), n * rows, mpi_double_precision, whole, n * rows, mpi_double_precision, 0, &
                    mpi_comm_world, error)
    if (rank == 0) write (unit) whole
  end subroutine write_out

end program heat_flow
