"""x"""
from experiments import configuration
from absl import flags
def define_flags(flag_values):
  configuration.define_flags(flag_values)
  flags.DEFINE_integer("iterations", 10000, "", flag_values=flag_values, module_name='run')
  for n in ['eval_every','figure_every','checkpoint_every']:
    flags.DEFINE_integer(n, 10000, "", flag_values=flag_values, module_name='run')
